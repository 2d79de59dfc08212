"""What is published: wheel, source, Debian package, image, each reproducible, with sums and a bill of materials."""
