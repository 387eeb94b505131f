package callback

// Commands for whoever manages a connection. They work as they stand: names of objects need no quotes.

// linkCommand shows the current link of a connection.
func linkCommand(connection Meta) string {
	return "kubectl get mcpc -n " + connection.Namespace + " " + connection.Name +
		` -o jsonpath='{.status.authorizationURL}{"\n"}'`
}

// describeCommand shows how a connection stands.
func describeCommand(connection Meta) string {
	return "kubectl describe mcpc -n " + connection.Namespace + " " + connection.Name
}

// describeCommand is that of the connection that a request is about; empty if that is not known.
func (x *exchange) describeCommand() string {
	if x.connection.Name == "" {
		return ""
	}
	return describeCommand(x.connection)
}
