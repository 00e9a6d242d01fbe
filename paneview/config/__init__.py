"""The configuration: its models, loading with good errors, editing that keeps comments, and where everything lies."""
