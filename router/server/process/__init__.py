"""uvicorn in one process or in several."""
