"""A node: configuration, the first certificates, and the nursery that holds a member's life."""
