"""The config: read, checked, completed. The schemas in ``workflow/schemas/`` document every key."""
