"""What people read: claims and their verdicts, figures, the report, the summary on the terminal."""
