"""What models compute: front ends and networks as functions of arrays and weights, without names, cards or files to fetch."""
