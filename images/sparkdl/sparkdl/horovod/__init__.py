"""What a training function may import while ``sparkdl.HorovodRunner`` runs it."""
