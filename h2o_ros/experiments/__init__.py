"""Training and tables without ROS."""
