"""One process's life: its schedule, its transitions, its cache, and what keeps it live."""
