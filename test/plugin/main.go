// Command plugin writes the page about kubectl mcpc: the help of every verb, and a session that it records on a live operator. Its
// tests call the plugin through the real kubectl.
package main

func main() {}
