"""What the frameworks can do, how they behave, and what surprises: capabilities, properties and quirks."""
