package tokenstore

// SetItemLimit gives a Keyring the item limit of another system.
func SetItemLimit(k *Keyring, bytes int) *Keyring {
	k.limit = bytes
	return k
}

// BeforeChange runs f after the keychain was opened and before each call that
// changes it.
func BeforeChange(k *Keyring, f func()) { k.beforeChange = f }

// Unattended is the default timeout of a call without a prompt.
const Unattended = unattended
