"""What the supervisor's own process needs: its log, enough open files, and its state folder."""
