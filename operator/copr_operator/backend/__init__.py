"""The results store: takes files from build pods, publishes DNF repositories, serves `/results/`."""
