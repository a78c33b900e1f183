defmodule Mix.Tasks.Palladion.Doctor do
  @shortdoc "Connects to a Cassandra step by step and reports what it finds"

  @moduledoc """
  Connects to a server step by step, and reports what it finds and what to do about it.

      mix palladion.doctor db1.example:9042 --cacertfile ca.pem --username app
      mix palladion.doctor --otp-app my_app --name MyApp.DB

  The first form looks at one endpoint (the port is 9042 unless given), the second at all contact
  points of a configured cluster, with its `tls:` and `auth:`; with both it is one endpoint with the
  cluster's options. Options below win over the configuration: `--no-verify` also over its
  authorities, pins, revocation lists and names, and an authority, a pin, a list or a name over its
  `verify: :verify_none`.

  It reports: the name's addresses; each address' port; the versions of TLS that the server accepts,
  the insecure ones included; its certificates with subjects, issuers, names, keys, expiries
  and fingerprints; whether they are trusted, and are for the right name; whether a client
  certificate is asked for; whether sessions are resumed, with TLS 1.3 and 1.2; the versions of
  CQL and of the protocol, compression, the authenticator; and by which mechanism the
  login is accepted, where one is given. `Palladion.Doctor` has an example, and does the same in a release.

  ## Options

    * `--cacertfile FILE` - the authorities to trust (default: the system's)
    * `--pinned FINGERPRINT` - a SHA-256 that the server's certificate must have; can be repeated
    * `--crlfile FILE` - lists of revoked certificates, PEM (any number) or DER
    * `--certfile FILE`, `--keyfile FILE` - the client certificate and its key
    * `--keyfile-password-env VARIABLE` - an environment variable with the key's password
    * `--verify-hostname NAME` - the name to check the certificate against (default: the host)
    * `--no-verify-hostname` - check no name
    * `--server-name NAME` - the name to ask the server for (SNI)
    * `--no-verify` - verify nothing
    * `--no-tls` - connect without TLS
    * `--username NAME` - log in. The password is asked for, unless one of these says where it is:
      * `--password-env VARIABLE` - in an environment variable
      * `--password-stdin` - in the first line of the standard input
    * `--mechanism NAME` - the SASL mechanism, such as `SCRAM-SHA-256`, `EXTERNAL` or `ANONYMOUS`; the
      last two need no name and no password. Can be repeated, in order of preference, which is then
      negotiated (default: by the server's authenticator)
    * `--authorization-id NAME` - the role to act as, where it isn't that of the name
    * `--allow-plaintext-password` - needed to send a password with `--no-tls`
    * `--sigv4` - log in to Amazon Keyspaces with the credentials that AWS' tools take: environment,
      profile, role
      * `--region NAME` - of the signature (default: that of the environment or the profile)
      * `--aws-profile NAME` - a profile of AWS' configuration files
    * `--timeout MS` - of each step of each connection (default: those of the configuration)
    * `--otp-app APP`, `--name NAME` - the configured cluster
    * `--json` - one JSON object instead of text; `Palladion.Doctor.Report.to_json/1` describes it.
      It is the last line: Mix may have something to compile, and says so before
    * `--help` - this text

  There is no option for the password itself: others could read it in the list of processes.

  ## Exit codes

    * 0 - all is well, though there may be warnings
    * 1 - a problem was found
    * 2 - the arguments or the configuration can't be used; the reason is on standard error
  """

  use Mix.Task

  alias Palladion.{ConfigError, Doctor}
  alias Palladion.Doctor.{Arguments, Password, Report}

  @impl true
  def run(argv), do: run(argv, &Doctor.run_all/1)

  @doc false
  # What examines is a parameter for the tests.
  @spec run([String.t()], (keyword() -> [Report.t()])) :: :ok | no_return()
  def run(argv, examine) do
    case Arguments.parse(argv) do
      {:ok, arguments} -> examine(arguments, examine)
      :help -> Mix.shell().info(@moduledoc)
      {:error, message} -> misused(message)
    end
  end

  defp examine(arguments, examine) do
    # Also compiles, and runs config/runtime.exs.
    Mix.Task.run("app.config")
    {:ok, _started} = Application.ensure_all_started(:palladion)

    case options(arguments) do
      {:ok, options} -> options |> examine.() |> report(arguments.format)
      {:error, message} -> misused(message)
    end
  rescue
    error in ConfigError -> misused(Exception.message(error))
  end

  defp options(%{options: options} = arguments) do
    with {:ok, password} <- Password.fetch(arguments.password),
         {:ok, keyfile_password} <- Password.fetch(arguments.keyfile_password) do
      {:ok, options |> put(:auth, password) |> put(:tls, keyfile_password)}
    end
  end

  defp put(options, _section, nil), do: options

  defp put(options, section, password) do
    Keyword.update(options, section, [password: password], &([password: password] ++ &1))
  end

  defp report(reports, format) do
    text = if format == :json, do: Report.to_json(reports), else: Report.to_text(reports)
    Mix.shell().info(text)
    if Report.ok?(reports), do: :ok, else: exit({:shutdown, Report.exit_code(reports)})
  end

  defp misused(message) do
    Mix.shell().error("mix palladion.doctor: #{message}")
    exit({:shutdown, 2})
  end
end
