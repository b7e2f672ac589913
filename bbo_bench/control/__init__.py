"""Control: environments, and plans that are made and executed in a closed loop."""
