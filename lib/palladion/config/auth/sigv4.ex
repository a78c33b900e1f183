defmodule Palladion.Config.Auth.SigV4 do
  @moduledoc false
  # Internal: AWS Signature Version 4: whose key signs, and for which region.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Auth.{Callback, Forms, Text}
  alias Palladion.Config.{Options, OtherNames, Region, Schema, Seal}
  alias Palladion.{ConfigError, Native, Secret}

  @path [:auth, :sigv4]
  @keys [:access_key_id, :secret_access_key, :session_token]
  @forms [keys: @keys, callback: [:credentials], chain: [:profile]]

  @typedoc "What is outside, for the tests to replace, and the region that the cluster is known to be in"
  @type surroundings :: %{
          required(:environment) => (() -> %{String.t() => String.t()}),
          required(:region) => Region.reader(),
          optional(:here) => String.t() | nil
        }

  @doc false
  @spec surroundings() :: surroundings()
  def surroundings, do: %{environment: &System.get_env/0, region: &Native.sigv4_region/1}

  @doc false
  # Options over others. A form excludes the others, and keys are one thing: a token of before
  # doesn't go with a new key.
  @spec override(keyword(), keyword()) :: keyword()
  def override(below, above) do
    dropped =
      cond do
        not keys?(above) -> []
        Forms.given(above, @forms) == [] -> @forms |> Keyword.values() |> Enum.concat()
        true -> @keys
      end

    below
    |> Forms.without_others(above, @forms)
    |> Keyword.drop(dropped)
    |> Keyword.merge(above)
  end

  defp keys?(options), do: Enum.any?(@keys, &Keyword.has_key?(options, &1))

  @doc false
  # What is `nil` in a change and takes nothing away. Keys are wanted whole anyway.
  @spec unset(term(), term()) :: [ConfigError.problem()]
  def unset(below, above) do
    if below != nil and Keyword.keyword?(above) do
      in_force = if Keyword.keyword?(below), do: Forms.given(below, @forms), else: []
      in_force = if in_force == [], do: [:chain], else: Keyword.keys(in_force)
      in_force |> Forms.unset(above, Keyword.delete(@forms, :keys)) |> Forms.missing(@path)
    else
      []
    end
  end

  @doc false
  # What `Palladion.Native` takes, and what Elixir is asked for.
  @spec parse(term(), surroundings()) ::
          {{map(), {:aws_credentials, Seal.sealed()} | nil}, [ConfigError.problem()]}
  def parse(true, surroundings), do: parse([], surroundings)

  def parse(options, surroundings) do
    if Keyword.keyword?(options) do
      {values, problems} = Options.check(options, Schema.Auth.sigv4(), @path, &OtherNames.sigv4/1)

      environment = surroundings.environment.()
      {credentials, ask, more} = credentials(form(options, values), values, environment)
      {region, region_problems} = region(values, environment, surroundings)
      region_problems = if mentions?(problems, :region), do: [], else: region_problems
      {{%{region: region, credentials: credentials}, ask}, problems ++ more ++ region_problems}
    else
      # Not shown: there may be a key in it.
      {{nil, nil}, [problem(@path, :invalid_value, "must be true or a keyword list")]}
    end
  end

  defp mentions?(problems, name), do: Enum.any?(problems, &(&1.path == @path ++ [name]))

  # Keys that are nil are an environment that is unset: no other identity takes their place.
  defp form(options, values) do
    given = Forms.given(values, @forms)
    if given == [] and keys?(options), do: [keys: :access_key_id], else: given
  end

  defp credentials([_, _ | _] = forms, _values, _environment),
    do: {nil, nil, Forms.conflicts(forms, @path)}

  defp credentials([keys: _name], values, _environment), do: keys(values)
  defp credentials([callback: _name], values, _environment), do: callback(values.credentials)

  defp credentials(_chain, values, environment) do
    {{:chain, %{profile: values.profile, environment: Region.secrets(environment)}}, nil, []}
  end

  # Keys

  defp keys(values) do
    {texts, problems} = Enum.map_reduce(@keys, [], &key(&1, &2, values))
    [access_key_id, secret_access_key, session_token] = texts

    if problems == [] do
      static = %{
        access_key_id: access_key_id,
        secret_access_key: Secret.wrap(secret_access_key).ref,
        session_token: session_token && Secret.wrap(session_token).ref
      }

      {{:static, static}, nil, []}
    else
      {nil, nil, Enum.reverse(problems)}
    end
  end

  defp key(name, problems, values) do
    with {:ok, text} when is_binary(text) <- Seal.open(values[name]),
         :ok <- Text.aws(text) do
      {text, problems}
    else
      {:ok, nil} when name == :session_token -> {nil, problems}
      {:ok, nil} -> {nil, [missing(name) | problems]}
      {:ok, %Secret{}} when name == :access_key_id -> {nil, [no_secret() | problems]}
      {:ok, %Secret{} = secret} -> {secret, problems}
      {:error, what} -> {nil, [problem(@path ++ [name], :invalid_value, what) | problems]}
      {:error, reason, what} -> {nil, [problem(@path ++ [name], reason, what) | problems]}
    end
  end

  defp missing(name) do
    message =
      "is missing: access_key_id: and secret_access_key: belong together; is an environment " <>
        "variable unset? sigv4: true takes AWS's own credentials"

    problem(@path ++ [name], :required, message)
  end

  defp no_secret do
    message = "can't be a Palladion.Secret, for it is sent as it is; give the string"
    problem(@path ++ [:access_key_id], :invalid_value, message)
  end

  # A function

  defp callback(value) do
    callback = Seal.reveal(value)

    case Callback.check(callback, 0) do
      :ok -> {{:ask, nil}, {:aws_credentials, Seal.mask(callback)}, []}
      {:error, message} -> {nil, nil, [not_callable(message)]}
      :other -> {nil, nil, [not_callable(callback_forms())]}
    end
  end

  defp callback_forms,
    do: "must be a function without arguments, or {module, function, arguments}"

  defp not_callable(message), do: problem(@path ++ [:credentials], :invalid_value, message)

  # The region

  defp region(values, environment, surroundings) do
    known = values.region || surroundings[:here]

    case Region.find(known, values.profile, environment, surroundings.region) do
      {:ok, nil} -> {nil, [no_region()]}
      {:ok, region} -> {region, []}
      {:error, message} -> {nil, [problem(@path ++ [:region], :invalid_value, message)]}
    end
  end

  defp no_region do
    message =
      "is missing: give region:, or set AWS_REGION or AWS_DEFAULT_REGION, or a region in AWS's " <>
        "configuration file"

    problem(@path ++ [:region], :required, message)
  end
end
