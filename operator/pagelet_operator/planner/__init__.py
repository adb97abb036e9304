"""The edges of `pagelet plan`: files and endpoints it reads, and how it shows what it found."""
