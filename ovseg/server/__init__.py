"""Starting, watching and stopping the real `tritonserver` and the gateway."""
