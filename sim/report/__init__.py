"""Reports as one HTML file each: no network, no server, readable on a phone, on paper and in the dark."""
