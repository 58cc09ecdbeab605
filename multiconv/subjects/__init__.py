"""What people hold in their hands: answers to judge, and functions to ask."""
