defmodule Palladion.Test.SeedServers do
  @moduledoc """
  Cassandra with the keystores that the Python drivers' documents show: RSA, a keystore by `keytool`, and a client certificate of
  X.509 v1. The test modules that ask for them share them.
  """

  alias Palladion.Test.Cassandra

  # Cassandra closes its standard output unless it runs in the foreground.
  @debug "-Dcassandra-foreground=yes -Djavax.net.debug=ssl:handshake"

  @doc """
  A node with the JDK's TLS, which says in `Palladion.Test.Cassandra.output/1` what it does in handshakes, or with `:openssl`
  (BoringSSL by netty-tcnative). `:mtls` wants a certificate of its clients, `:tls` none.
  """
  @spec server(:tls | :mtls, :jdk | :openssl) :: Cassandra.server()
  def server(variant, provider) do
    env = %{"CASS_STORE" => "jks", "CASS_SSL" => to_string(provider)}
    env = if provider == :jdk, do: Map.put(env, "CASS_JVM_EXTRA", @debug), else: env
    Cassandra.server(variant, name: "seeds-#{variant}-#{provider}", env: env)
  end
end
