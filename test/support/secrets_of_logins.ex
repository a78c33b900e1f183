defmodule Palladion.Test.SecretsOfLogins do
  @moduledoc """
  The logins of `Palladion.Integration.SecretsTest`: every form of `auth:` with a secret in it, in clusters that can connect, in
  those that can't, and in what `Palladion.update_auth/2` is given.
  """

  import Palladion.Test.Certificates, only: [write!: 3]

  alias Palladion.Test.Authenticators.{CramMD5, Scripted}
  alias Palladion.Test.{SecretsChild, Testkit}
  alias Palladion.Test.Testkit.AWS

  @region "us-east-1"

  @doc "The servers that ask for something else than a password, and the files with one."
  def servers(dir, secrets) do
    %{password: password, aws_secret: secret, session_token: token} = secrets
    key = "AKIASECRETS#{System.unique_integer([:positive])}"
    AWS.access_key(access_key_id: key, secret: secret, session_token: token)

    %{
      cram: Testkit.start_server(method: :cram_md5, user: "ann", password: password),
      scram: Testkit.start_server(method: :scram_sha_256, user: "ann", password: password),
      sigv4: Testkit.start_server(method: :sigv4, region: @region),
      key: key,
      password_file: write!(dir, "password", password <> "\n"),
      credentials_file: credentials_file(dir, password)
    }
  end

  defp credentials_file(dir, password) do
    write!(dir, "credentials", "[Login]\nusername = ann\npassword = #{password}\n")
  end

  @doc "Clusters that connect: `plain` has the options of one with a password."
  def good(plain, servers, %{password: password} = secrets) do
    of_function = {SecretsChild, :login, ["ann", password]}

    [
      vault: put(plain, credentials: of_function),
      closure: put(plain, credentials: SecretsChild.closure("ann", password)),
      file: put(plain, credentials: {:file, servers.credentials_file}),
      password_file: put(plain, username: "ann", password: {:file, servers.password_file}),
      authenticator: on(plain, servers.cram, authenticator: {CramMD5, {"ann", password}}),
      cram:
        on(plain, servers.cram,
          username: "ann",
          password: password,
          mechanism: :cram_md5,
          allowed_authenticators: ["testkit.SaslAuthenticator"]
        ),
      scram:
        on(plain, servers.scram, username: "ann", password: password, mechanism: :scram_sha_256),
      keys: on(plain, servers.sigv4, sigv4: keys(servers, secrets)),
      keys_function:
        on(plain, servers.sigv4,
          sigv4: [region: @region, credentials: keys_function(servers, secrets)]
        )
    ]
  end

  defp put(options, auth), do: Keyword.put(options, :auth, auth)

  defp on(options, server, auth) do
    options
    |> Keyword.merge(
      contact_points: [{server.host, server.port}],
      tls: [cacertfile: server.cacertfile]
    )
    |> put(auth)
  end

  defp keys(servers, secrets) do
    [region: @region] ++
      SecretsChild.keys(servers.key, secrets.aws_secret, secrets.session_token)
  end

  defp keys_function(servers, secrets),
    do: {SecretsChild, :keys, [servers.key, secrets.aws_secret, secrets.session_token]}

  @doc "A cluster that finds its keys in the environment, and that environment."
  def chain(servers, secrets) do
    environment = [
      {"AWS_ACCESS_KEY_ID", servers.key},
      {"AWS_SECRET_ACCESS_KEY", secrets.aws_secret},
      {"AWS_SESSION_TOKEN", secrets.session_token},
      {"AWS_REGION", @region}
    ]

    [chain: on([pool: [size: 2]], servers.sigv4, sigv4: true), environment: environment]
  end

  @doc "Those of `bad/3` whose configuration can be read: what is wrong shows when they log in."
  def bad_at_login do
    [:function_wrong, :keys_wrong, :authenticator_wrong] ++
      for(how <- failures(), form <- ["function", "authenticator"], do: :"#{form}_#{how}")
  end

  defp failures, do: [:raise, :clause, :throw, :exit, :nonsense]

  @doc "Clusters that can't start, for what is wrong near a secret, or with the secret itself."
  def bad(plain, servers, %{password: password, wrong_password: wrong} = secrets) do
    keys = keys(servers, secrets)

    at_login =
      [
        function_wrong: put(plain, credentials: {SecretsChild, :login, ["ann", wrong]}),
        keys_wrong: on(plain, servers.sigv4, sigv4: [secret_access_key: wrong] ++ keys),
        authenticator_wrong: on(plain, servers.cram, authenticator: {CramMD5, {"ann", wrong}})
      ] ++
        for how <- failures(),
            {form, auth} <- [
              function: [credentials: {SecretsChild, :fail, [how, password]}],
              authenticator: [
                authenticator: {Scripted, [new: SecretsChild.failing(how, password)]}
              ]
            ],
            do: {:"#{form}_#{how}", on_its_own(plain, servers, form, auth)}

    at_start = [
      credentials_text: put(plain, credentials: password),
      credentials_arity: put(plain, credentials: {SecretsChild, :login, password}),
      credentials_and_password: put(plain, credentials: fn _ -> [] end, password: password),
      mechanism: put(plain, username: "ann", password: password, mechanism: :rot13),
      authenticator_none: put(plain, authenticator: {NoSuch, password}),
      authenticator_text: put(plain, authenticator: password),
      authenticator_and_password: put(plain, authenticator: {CramMD5, wrong}, password: password),
      sigv4_text: put(plain, sigv4: password),
      sigv4_misspelt: put(plain, sigv4: [secret_acess_key: secrets.aws_secret] ++ keys),
      sigv4_half: put(plain, sigv4: Keyword.delete(keys, :access_key_id)),
      sigv4_wrong: put(plain, sigv4: [secret_access_key: {:secret, secrets.aws_secret}] ++ keys),
      sigv4_mixed: put(plain, sigv4: [profile: "p"] ++ keys),
      sigv4_and_password: put(plain, sigv4: keys, username: "ann", password: password),
      timeout: put(plain, username: "ann", password: password, timeout: -1)
    ]

    for({name, options} <- at_login, do: {name, [sync_connect: 1_000] ++ options}) ++ at_start
  end

  defp on_its_own(plain, _servers, :function, auth), do: put(plain, auth)
  defp on_its_own(plain, servers, :authenticator, auth), do: on(plain, servers.cram, auth)

  @doc "What the login of a cluster with a password becomes, one after the other."
  def updates(dir, %{password: password}) do
    [
      to_function: [credentials: {SecretsChild, :login, ["ann", password]}],
      to_closure: [credentials: SecretsChild.closure("ann", password)],
      to_file: [credentials: {:file, credentials_file(dir, password)}],
      to_password_file: [username: "ann", password: {:file, write!(dir, "again", password)}],
      to_password: [username: "ann", password: password]
    ]
  end
end
