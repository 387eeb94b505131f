package controller

// String keeps the secret out of whatever prints it.
func (c referencedClient) String() string { return "a referenced client" }

// GoString is String, for %#v.
func (c referencedClient) GoString() string { return c.String() }

// String keeps the refresh token out of whatever prints it.
func (g importedGrant) String() string { return "an imported grant" }

// GoString is String, for %#v.
func (g importedGrant) GoString() string { return g.String() }
