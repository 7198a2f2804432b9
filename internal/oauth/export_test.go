package oauth

// PollWith is PollDevice with another wall clock.
var PollWith = pollDevice

// ResourceWellKnown returns the well-known place of resource's metadata.
func ResourceWellKnown(resource string) (string, error) {
	u, err := resourceIdentifier(resource)
	if err != nil {
		return "", err
	}
	return wellKnownAt(u), nil
}
