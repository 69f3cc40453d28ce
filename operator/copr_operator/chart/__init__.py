"""What the Helm chart's hooks run: the drain before an uninstall, the build of `helm test`."""
