"""How far one set of features lies from another: kernel means, a classifier of domains, Gaussians; and in words."""
