"""What a caller asks: chat, responses, embeddings, and the wishes beside them."""
