"""Parts of pages that answer: what to build, and why a kernel takes so long."""
