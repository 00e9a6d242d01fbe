"""Making and changing a configuration file: comments and every other byte stay as they were."""
