"""What we do: one module per verb. They take open handles, call the domain, store and tell."""
