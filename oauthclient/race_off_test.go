//go:build !race

package oauthclient_test

const raceDetector = false
