"""What installing, updating and configuring plugins takes and leads to."""
