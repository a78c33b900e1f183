defmodule Palladion.Doctor.Login do
  @moduledoc false
  # Internal: the switches of a login as `auth:` of a cluster. The password is not among them.

  alias Palladion.Config.Options

  @mechanisms [
    plain: "PLAIN",
    external: "EXTERNAL",
    anonymous: "ANONYMOUS",
    cram_md5: "CRAM-MD5",
    digest_md5: "DIGEST-MD5",
    scram_sha_1: "SCRAM-SHA-1",
    scram_sha_256: "SCRAM-SHA-256"
  ]

  # Whoever logs in by one of these has no password.
  @without_password [:external, :anonymous]

  @of_password [:username, :password_env, :password_stdin]

  @doc false
  # In the order of preference in which they are given.
  @spec mechanisms(keyword()) :: {:ok, [atom()]} | {:error, String.t()}
  def mechanisms(given) do
    given
    |> Keyword.get_values(:mechanism)
    |> Enum.reduce_while({:ok, []}, fn name, {:ok, found} ->
      case mechanism(name) do
        {:ok, mechanism} -> {:cont, {:ok, found ++ [mechanism]}}
        {:error, message} -> {:halt, {:error, message}}
      end
    end)
  end

  # Not shown as it was given: it may be something else that slipped behind the switch.
  defp mechanism(given) do
    name = given |> String.upcase() |> String.replace("_", "-")
    known = Keyword.values(@mechanisms)

    cond do
      found = Enum.find(@mechanisms, fn {_mechanism, known} -> known == name end) ->
        {:ok, elem(found, 0)}

      near = Options.nearest(name, known) ->
        {:error, "--mechanism has none that is known, did you mean #{near}?"}

      true ->
        {:error, "--mechanism has none that is known; there are #{Enum.join(known, ", ")}"}
    end
  end

  @doc false
  # What excludes each other, before anybody is asked for a password.
  @spec check(keyword(), [atom()]) :: :ok | {:error, String.t()}
  def check(given, mechanisms) do
    if given[:sigv4],
      do: beside_sigv4(first(given, [:mechanism, :authorization_id | @of_password])),
      else: without_sigv4(first(given, [:region, :aws_profile]), given, mechanisms)
  end

  defp beside_sigv4(nil), do: :ok
  defp beside_sigv4(other), do: {:error, "takes one of --sigv4 and #{switch(other)}"}

  defp without_sigv4(nil, given, mechanisms) do
    of_password = first(given, @of_password)

    if of_password && passwordless?(mechanisms) do
      {:error, "#{switch(of_password)} has no effect with --mechanism #{name(hd(mechanisms))}"}
    else
      :ok
    end
  end

  defp without_sigv4(other, _given, _mechanisms),
    do: {:error, "#{switch(other)} has no effect without --sigv4"}

  defp first(given, switches), do: Enum.find(switches, &given[&1])

  defp passwordless?(mechanisms),
    do: mechanisms != [] and Enum.all?(mechanisms, &(&1 in @without_password))

  defp switch(name), do: "--" <> String.replace(Atom.to_string(name), "_", "-")
  defp name(mechanism), do: Keyword.fetch!(@mechanisms, mechanism)

  @doc false
  @spec options(keyword(), [atom()]) :: keyword()
  def options(given, mechanisms) do
    options =
      given(given, [:username, :authorization_id, :allow_plaintext_password]) ++
        mechanism_option(mechanisms) ++ sigv4(given)

    if options == [], do: [], else: [auth: options]
  end

  defp given(given, names),
    do: for(name <- names, (value = given[name]) != nil, do: {name, value})

  defp mechanism_option([]), do: []
  defp mechanism_option([one]), do: [mechanism: one]
  defp mechanism_option(many), do: [mechanism: many]

  defp sigv4(given) do
    named = for {:aws_profile, name} <- given, do: {:profile, name}

    case {given[:sigv4], given(given, [:region]) ++ named} do
      {true, []} -> [sigv4: true]
      {true, options} -> [sigv4: options]
      _ -> []
    end
  end
end
