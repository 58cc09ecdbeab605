"""What people hold: a problem to explain, a function or a layer to identify, answers to judge."""
