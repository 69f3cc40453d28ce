"""The trusted containers of a build pod: `fetch` brings the inputs, `collect` takes the results away."""
