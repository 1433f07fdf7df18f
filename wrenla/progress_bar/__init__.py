"""Drawing of progress, on a terminal, in a notebook and elsewhere."""
