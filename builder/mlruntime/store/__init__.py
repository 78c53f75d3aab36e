"""The content-addressed store on local disk."""
