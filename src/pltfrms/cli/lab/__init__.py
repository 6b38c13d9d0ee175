"""`lab`: datacenters and an internet on this machine."""
