package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// S95: only the registries that a profile names get its token, in a spelling that
// Docker and the command cannot read in two ways.
func TestS95OtherRegistriesGetNothing(t *testing.T) {
	t.Parallel()
	c := config{Profiles: map[string]profile{
		"work": {DockerRegistries: []string{"registry.example.com:5000", "https://hub.example.com/v1/"}},
		"home": {},
	}}
	for _, server := range []string{
		"registry.example.com:5000", "REGISTRY.example.com:5000", "https://registry.example.com:5000",
		"https://registry.example.com:5000/v2/", "hub.example.com", "hub.example.com:443",
	} {
		name, err := c.forRegistry(server)
		require.NoError(t, err)
		require.Equal(t, "work", name, server)
	}
	for _, server := range []string{
		"", "other.example.com", "registry.example.com", "registry.example.com:5001",
		"http://registry.example.com:5000", "HTTPS://registry.example.com:5000",
		"ftp://registry.example.com:5000", "//registry.example.com:5000",
		"registry.example.com:5000/path", "https://registry.example.com:5000/path",
		"https://registry.example.com:5000/v2/../x", "https://registry.example.com:5000?x", "registry.example.com:5000#x",
		"registry.example.com:5000@evil.example", "me@registry.example.com:5000",
		"https://registry.example.com:5000@evil.example/v2/", `registry.example.com:5000\@evil.example`,
		"registry.example.com:5000\r", "registry.example.com:5000\r\nevil.example", "registry.example.com:5000\n",
		"registry.example.com:5000 ", " registry.example.com:5000", "registry.example.com:5000\x00.evil.example",
		"registry.example.com:", "registry.example.com:05000", "registry.example.com.:5000",
		"registry.example.com:5000,evil.example", "rеgistry.example.com:5000", // a Cyrillic letter
		"regİstry.example.com:5000", // a capital letter that Unicode folds to i
	} {
		name, err := c.forRegistry(server)
		require.NoError(t, err)
		require.Empty(t, name, "%q", server)
	}
}

// A request that is too long is refused, and none is read without an end.
func TestDockerRequestsThatAreTooLong(t *testing.T) {
	t.Parallel()
	for _, isJSON := range []bool{false, true} {
		request, err := readDocker(strings.NewReader("registry.example.com\n"+strings.Repeat("x", maxDocker)), isJSON)
		require.ErrorContains(t, err, "too long")
		require.Empty(t, request)
	}
	request, err := readDocker(strings.NewReader("registry.example.com"), false)
	require.NoError(t, err)
	require.Equal(t, "registry.example.com", request.ServerURL)
}

// FuzzDockerRequest reads arbitrary requests. Whatever a request says, a registry that
// gets the token is the one that the profile names.
func FuzzDockerRequest(f *testing.F) {
	c := config{Profiles: map[string]profile{"work": {DockerRegistries: []string{"registry.example.com:5000"}}}}
	f.Add("registry.example.com:5000", false)
	f.Add("https://registry.example.com:5000/v2/\n", false)
	f.Add(`{"ServerURL":"registry.example.com:5000","Username":"me","Secret":"s"}`, true)
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		request, err := readDocker(strings.NewReader(text), isJSON)
		if err != nil {
			require.Empty(t, request)
			return
		}
		if name, err := c.forRegistry(request.ServerURL); err == nil && name != "" {
			bare := strings.TrimPrefix(strings.ToLower(request.ServerURL), "https://")
			bare, _, _ = strings.Cut(bare, "/")
			require.Equal(t, "registry.example.com:5000", bare)
		}
	})
}

// Docker finds the helper by its name.
func TestTheNameThatDockerCalls(t *testing.T) {
	t.Parallel()
	for _, name := range []string{dockerHelper, "/usr/bin/" + dockerHelper, dockerHelper + ".exe"} {
		require.Equal(t, []string{"docker-credential", "get"}, arguments([]string{name, "get"}))
	}
	require.Equal(t, []string{"get"}, arguments([]string{"/usr/bin/nativeoauth", "get"}))
}
