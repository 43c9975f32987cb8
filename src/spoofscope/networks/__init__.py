"""What models compute, and how their files are read: front ends and networks as functions, without the names and cards of a room."""
