"""What clients get: answers to their requests, the picture of all tasks, and the WebSocket API."""
