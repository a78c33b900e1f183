defmodule Palladion.Authenticator.Endpoint do
  @moduledoc """
  Whom a login is for: what a `Palladion.Authenticator`, or a function in `auth: [credentials:]`,
  is given.

    * `host` - the host as it was dialled: a name or an IP address
    * `port` - its port
    * `address` - the IP address that was connected to, as text
    * `authenticator` - the class that the server named, such as
      `"org.apache.cassandra.auth.PasswordAuthenticator"`

  A function that has other credentials for each host:

      def credentials(%Palladion.Authenticator.Endpoint{host: host}) do
        {username, password} = MyApp.Vault.login(host)
        [username: username, password: password]
      end
  """

  @enforce_keys [:host, :port, :address, :authenticator]
  defstruct [:host, :port, :address, :authenticator]

  @type t :: %__MODULE__{
          host: String.t(),
          port: :inet.port_number(),
          address: String.t(),
          authenticator: String.t()
        }
end
