package tokenstore

// SetItemLimit gives a Keyring the limit of another system.
func SetItemLimit(k *Keyring, bytes int) *Keyring {
	k.limit = bytes
	return k
}

// BeforeChange has f run between the look at the keychain and each call that changes it.
func BeforeChange(k *Keyring, f func()) { k.beforeChange = f }

// Unattended is how long a call may take where nobody is asked.
const Unattended = unattended
