// Package workload gets the tokens that a platform issues to a program that runs
// without a user: a job of GitHub Actions or GitLab, or a pod of Kubernetes. They
// are the functions that oauthclient.Workload takes.
//
// # Use
//
// The same program signs its user in on a laptop, and needs no user in a job:
//
//	token, why := workload.Detect()
//	log.Print("credentials: ", why)
//	if token != nil {
//		cfg.Workload = &oauthclient.Workload{ClientAssertion: token}
//	}
//
// The program says what the token is for, because each provider wants one use of
// it: a client assertion (Entra, Okta, Keycloak), a grant or a subject token
// (Google). docs/workload.md says what to register there.
//
// [File], [GitHub] and [GitLab] are for a program that knows its platform. A
// program that has its token from elsewhere writes such a function itself.
//
// # The functions
//
// Each function is called for every new access token, and asks the platform each
// time: these tokens live for minutes. It keeps nothing and logs nothing, and its
// errors contain no token. It may be called by several goroutines at once.
//
// Its argument is the audience that the token must have. A platform's token is
// returned only if it is a JWT for that audience alone (RFC 7519 §4.1.3). Each of
// several audiences could use the token at the others. The signature is not
// verified here: the authorization server does that.
//
// # What is not used
//
// The token of a pod's service account, which Kubernetes mounts by default, is for
// the API server of the cluster. An authorization server that received it could
// act as the pod. So it is never looked for, and its audience does not fit.
package workload
