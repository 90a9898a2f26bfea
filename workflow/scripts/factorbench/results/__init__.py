"""From runs to tables: what is measured over several seeds, methods or sizes, and where it comes from."""
