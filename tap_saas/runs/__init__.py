"""What a run leaves behind for people: its run file, its progress, its report as a page."""
