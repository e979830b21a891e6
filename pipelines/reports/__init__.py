"""What people ask the warehouse, and how answers are written."""
