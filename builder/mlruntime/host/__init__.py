"""What this machine tells: its clients' settings, its commands, its GPUs."""
