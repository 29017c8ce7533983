"""What people read of results: the paper's numbers, tables, figures, one page."""
