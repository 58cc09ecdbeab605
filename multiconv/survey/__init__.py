"""Surveys of the frameworks: capabilities (features), properties (numerical behaviour) and quirks."""
