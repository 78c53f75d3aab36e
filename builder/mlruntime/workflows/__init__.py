"""What a verb does, from files to a result. May import every stage, never the command line."""
