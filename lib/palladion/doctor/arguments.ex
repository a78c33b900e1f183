defmodule Palladion.Doctor.Arguments do
  @moduledoc false
  # Internal: the command line of `mix palladion.doctor` as options of a cluster. Reads nothing and
  # asks nobody; where the password comes from is part of the result.

  alias Palladion.Config.Options
  alias Palladion.Doctor.Login

  @switches [
    cacertfile: :string,
    certfile: :string,
    keyfile: :string,
    keyfile_password_env: :string,
    crlfile: [:string, :keep],
    pinned: [:string, :keep],
    verify_hostname: :string,
    no_verify_hostname: :boolean,
    server_name: :string,
    no_verify: :boolean,
    no_tls: :boolean,
    username: :string,
    password_env: :string,
    password_stdin: :boolean,
    mechanism: [:string, :keep],
    authorization_id: :string,
    sigv4: :boolean,
    region: :string,
    aws_profile: :string,
    allow_plaintext_password: :boolean,
    timeout: :integer,
    otp_app: :string,
    name: :string,
    json: :boolean,
    help: :boolean
  ]

  @type password :: {:env, String.t()} | :stdin | :prompt | nil

  @typedoc "`options` are `Palladion`'s, without the password; `passwords` says where to get them"
  @type t :: %{
          options: keyword(),
          password: password(),
          keyfile_password: {:env, String.t()} | nil,
          format: :text | :json
        }

  @doc false
  @spec parse([String.t()]) :: {:ok, t()} | :help | {:error, String.t()}
  def parse(argv) do
    case OptionParser.parse(argv, strict: @switches) do
      {_given, _rest, [_ | _] = invalid} -> {:error, invalid(invalid)}
      {given, rest, []} -> if given[:help], do: :help, else: build(given, rest)
    end
  end

  # Values are never repeated: after a misspelt switch stands what might be a password.
  defp invalid(invalid) do
    names = Enum.map(invalid, fn {name, _value} -> name end)
    if "--password" in names, do: no_password(), else: wrong(hd(names))
  end

  defp no_password do
    "a password on the command line can be seen by every user of the machine, and stays in the " <>
      "shell's history; use --password-env VARIABLE, --password-stdin, or --username alone, " <>
      "which asks for it"
  end

  defp wrong(name) do
    known = for {switch, _type} <- @switches, do: switch_name(switch)

    cond do
      name in known -> "#{name} has no value, or not the right kind of one"
      near = Options.nearest(name, known) -> "#{name} is no option, did you mean #{near}?"
      true -> "#{name} is no option"
    end
  end

  defp switch_name(switch), do: "--" <> String.replace(Atom.to_string(switch), "_", "-")

  defp build(given, rest) do
    with :ok <- endpoint(given, rest),
         :ok <- one_list(given),
         :ok <- name_wanted(given),
         :ok <- cluster(given),
         :ok <- passwords(given),
         :ok <- tls_wanted(given),
         {:ok, mechanisms} <- Login.mechanisms(given),
         :ok <- Login.check(given, mechanisms) do
      {:ok,
       %{
         options:
           points(rest) ++
             source(given) ++ tls(given) ++ Login.options(given, mechanisms) ++ timeouts(given),
         password: password(given),
         keyfile_password: env(given[:keyfile_password_env]),
         format: if(given[:json], do: :json, else: :text)
       }}
    end
  end

  # What is given at once

  defp endpoint(given, []) do
    if given[:otp_app],
      do: :ok,
      else: {:error, "needs HOST:PORT, or --otp-app with --name"}
  end

  defp endpoint(_given, [_one]), do: :ok
  defp endpoint(_given, _many), do: {:error, "takes one HOST:PORT, and there is more"}

  defp cluster(given) do
    case {given[:otp_app], given[:name]} do
      {nil, nil} -> :ok
      {_app, nil} -> {:error, "--otp-app needs --name, the cluster's, such as MyApp.DB"}
      {nil, _name} -> {:error, "--name needs --otp-app, whose configuration has the cluster"}
      {_app, _name} -> :ok
    end
  end

  defp passwords(given) do
    if given[:password_env] && given[:password_stdin],
      do: {:error, "takes one of --password-env and --password-stdin"},
      else: :ok
  end

  # The last would count, and what the others have revoked be taken.
  defp one_list(given) do
    case Keyword.get_values(given, :crlfile) do
      [_, _ | _] -> {:error, "takes --crlfile once; several lists can stand in one PEM file"}
      _ -> :ok
    end
  end

  defp name_wanted(given) do
    if given[:no_verify_hostname] && given[:verify_hostname],
      do: {:error, "takes one of --verify-hostname and --no-verify-hostname"},
      else: :ok
  end

  @of_tls [
    :cacertfile,
    :certfile,
    :keyfile,
    :keyfile_password_env,
    :crlfile,
    :pinned,
    :verify_hostname,
    :no_verify_hostname,
    :server_name,
    :no_verify
  ]

  defp tls_wanted(given) do
    case given[:no_tls] && Enum.find(@of_tls, &given[&1]) do
      unwanted when unwanted in [nil, false] ->
        :ok

      unwanted ->
        {:error, "#{switch_name(unwanted)} has no effect with --no-tls; leave out one of them"}
    end
  end

  # Options

  defp points([]), do: []
  defp points([point]), do: [contact_points: [point]]

  # Names of the user's own machine, as he writes them: few, and needed as atoms.
  defp source(given) do
    if app = given[:otp_app],
      do: [otp_app: String.to_atom(app), name: cluster_name(given[:name])],
      else: []
  end

  defp cluster_name(":" <> name), do: String.to_atom(name)

  defp cluster_name(<<first, _::binary>> = name) when first in ?A..?Z,
    do: Module.concat([name])

  defp cluster_name(name), do: String.to_atom(name)

  defp tls(given) do
    options =
      Enum.reject(
        [
          verify: if(given[:no_verify], do: :verify_none),
          cacertfile: given[:cacertfile],
          certfile: given[:certfile],
          keyfile: given[:keyfile],
          crlfile: given[:crlfile],
          pinned: pinned(given),
          verify_hostname:
            if(given[:no_verify_hostname], do: false, else: given[:verify_hostname]),
          server_name_indication: given[:server_name]
        ],
        fn {_option, value} -> value == nil end
      )

    cond do
      given[:no_tls] -> [tls: false]
      options == [] -> []
      true -> [tls: options]
    end
  end

  defp pinned(given) do
    case Keyword.get_values(given, :pinned) do
      [] -> nil
      [one] -> one
      many -> many
    end
  end

  defp timeouts(given) do
    for timeout <- [:connect_timeout, :tls_timeout, :login_timeout],
        (ms = given[:timeout]) != nil,
        do: {timeout, ms}
  end

  # A configured cluster has a password of its own.
  defp password(given) do
    cond do
      given[:password_env] -> {:env, given[:password_env]}
      given[:password_stdin] -> :stdin
      given[:username] -> :prompt
      true -> nil
    end
  end

  defp env(nil), do: nil
  defp env(variable), do: {:env, variable}
end
